-- Which server the facts of an endpoint are of (a digest of its address). Facts of another one do not count.
ALTER TABLE endpoints ADD COLUMN facts_of text;

-- Whether the prompt goes into the files: a rerun asks for the same.
ALTER TABLE jobs ADD COLUMN embed_prompt boolean NOT NULL DEFAULT false;
