"""Real image work on the CPU: arrays and bytes in, arrays and bytes out; pure and synchronous.

    arrays          what an array means here, and what alpha makes easy to get wrong (resize, over)
    oklab           the colour space in which distances are meant
    decode          bytes -> pixels within limits; what an uploaded picture is stored as
    png_facts       PNG chunks: completeness, measuring, our facts in a text chunk
    video           probing, encoding, facts in an MP4
    cutout          background removal without weights        layers   taking a picture apart
    silhouette      the shape of the subject                  trim     the box of what is visible
    pixelate, grid  pixel art, and the hidden grid of pictures that imitate it
    animate         a portrait that breathes                  faces    finding the face
    portrait        a drawn person to try it on               sheet    contact sheets

Callers import the submodule they need and put it in a thread; importing this package loads nothing heavy.
Nothing here knows jobs, providers or storage.
"""
