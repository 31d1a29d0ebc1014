"""Text, image and sound encoders behind one face each."""
