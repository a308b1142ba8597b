"""Results and contracts in other tools' shapes."""
