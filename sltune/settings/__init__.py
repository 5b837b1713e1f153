"""From a TOML file to checked settings: configurations and the domains of a search."""
