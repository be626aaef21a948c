"""The command line: `app` puts the commands together, each file holds those of one noun."""
