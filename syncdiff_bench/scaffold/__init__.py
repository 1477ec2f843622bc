"""New plugin packages: what `syncdiff-bench new` writes."""
