"""Training samples: pairs of photographs, computed once or as they are needed."""
