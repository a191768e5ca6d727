"""What compare.py is made of: a plan, its runs, the lines they leave, statistics, tables, a page."""
