"""Provider batch APIs: requests gathered, submitted for half the price, and waited for, through any crash."""
