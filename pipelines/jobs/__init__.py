"""Durable jobs: stages and features, submitting, running, reading, erasing."""
