"""The training's commands, as the command line attaches them."""
