"""A registered detector's export behind the Open Inference Protocol (V2), as KServe serves models; needs no torch."""
