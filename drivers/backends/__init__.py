"""Ways for bytes to travel: memory, TCP, serial ports, VISA. Each fills the five methods of a Link."""
