"""What hidden states know, for any dataset: probing runs, their untrained twins and the live probe."""
