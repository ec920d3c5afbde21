"""The cloud: the only place where the teacher's weights exist. Answers over HTTP, behind a meter."""
