"""What figures are worth: means, intervals by resampling, tests."""
