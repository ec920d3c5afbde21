"""Other methods, behind the same oracle and meter."""
