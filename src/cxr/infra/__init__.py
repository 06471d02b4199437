"""What others run for us: experiment tracking and the machine a training runs on."""
