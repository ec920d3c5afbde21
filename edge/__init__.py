"""The edge: sees its own images and the teacher's answers, never the teacher's weights."""
