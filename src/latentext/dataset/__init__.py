"""The dataset directory: layout, receipts, atomic files, lazy reading, splits, verification, exports."""
