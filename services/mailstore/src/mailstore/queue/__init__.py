"""The queue of mail that leaves the house: claims, reports, retries, bounces."""
