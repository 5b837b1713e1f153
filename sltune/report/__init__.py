"""What is made of runs that have ended: the HTML page, the frame of records, the commands that reproduce a run."""
