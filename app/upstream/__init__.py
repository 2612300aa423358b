"""The upstream as we speak to it: its JSON (`wire`) and its HTTP (`client`)."""
