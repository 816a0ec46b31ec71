-- What a price also depends on and no other column holds, so that a later `weir reprice` comes to the same result.
ALTER TABLE {{traces}}
    ADD COLUMN IF NOT EXISTS PriceHints LowCardinality(String) COMMENT 'us or eu: processed there; fast: the fast mode' CODEC(ZSTD(1));
