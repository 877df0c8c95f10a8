"""What several backends share: the interface of runtimes, ONNX files, rewrites of graphs."""
