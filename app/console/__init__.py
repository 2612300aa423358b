"""`/console`: the operators' pages.

The console asks the same functions that answer REST, in the same process: it has no rights or rules of its own. Its only own
queries are for what no route tells: the callbacks that came for a job (`job.py`) and the balance of the books (`overview.py`).
Pages are whole and readable without scripts; where they are live, the browser asks for the page again and takes what changed.
"""
