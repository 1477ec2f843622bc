"""New plugin packages: what `syncdiff-bench plugin new` writes."""
