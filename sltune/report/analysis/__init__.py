"""The numbers of a report: means, intervals, comparisons, costs, importances."""
