"""What the api decides, without I/O: who may ask for what, what a request must look like, what people see."""
