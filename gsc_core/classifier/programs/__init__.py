"""Exported programs: made to take images and give logits, their graphs read and checked."""
