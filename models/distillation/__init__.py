"""What any teacher-student run shares, whatever the method."""
