"""Why a dump differs: causes tried by recomputing with each, and effects of the number format."""
