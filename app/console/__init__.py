"""`/console`: the operators' pages.

The console asks the same functions that answer REST, in the same process: it has no queries, rights or rules of its own. Pages
are whole and readable without scripts; where they are live, the browser asks for the page again and takes what changed.
"""
