"""What a released value is: estimate, interval, loss, and the joint release of all three metrics."""
