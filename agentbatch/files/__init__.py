"""What every file that must not be lost, torn or shared needs."""
