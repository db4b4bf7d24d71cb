"""The process that runs one of Bursar's Kong plugins: kong-pdk's plugin server, hardened."""
