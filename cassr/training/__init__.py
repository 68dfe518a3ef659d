"""Training the stages of CasSR."""
