// Package ckpt is everything of this project that lies in files.
//
// # Files from outside
//
// Model folders (OpenModel, SaveModel), tensors (OpenSafetensors, WriteSafetensors, Weights), LoRA adapters in PEFT's
// folders (ReadAdapter, WriteAdapterFiles, NewAdapter), chat templates (ParseChatTemplate) and, in package tokenizer,
// tokenizers. Such files are not trusted: every length, offset, shape, key and number is checked before it is used, and
// what cannot be read exactly is refused, since a model that is almost right trains on something else. JSON goes through
// DecodeJSON. Opening a model does not need its tokenizer.
//
// # Files of our own
//
// The run folder, which FORMAT.md specifies: the run store (OpenStore), checkpoints (Save, Latest), the lock (LockRun),
// metrics and TensorBoard files. What is written as a whole, the folders above included, is the old content or the new one
// after a crash (WriteFileAtomic, WriteDirAtomic, MkdirAll); what is appended to may end in a torn line or record.
//
// # Errors
//
// Errors are returned, never panics, and name the file, the tensor, field or key, what was found and what was expected.
// ErrUnsupported marks what is well-formed and not built here; ErrMismatch an adapter that is not for this model;
// ErrNoTensor, ErrDType, *NonFiniteError tensors that are missing, of another type, or not numbers; ErrExists a target
// that would be overwritten; fs.ErrNotExist a file that is not there.
//
// # Concurrency
//
// Open models, weights, templates and tokenizers are safe for concurrent use until they are closed. Tensor data that
// comes from a mapped file is read-only, and must not be touched after Close.
//
// # Example
//
//	m, err := ckpt.OpenModel(dir)
//	defer m.Close()
//	a, err := ckpt.NewAdapter(m.Config, 16, 32, ckpt.Projections, seed, false)
//	embed, err := m.Weights.Tensor("model.embed_tokens.weight")
//	err = ckpt.WriteDirAtomic(out, func(d *ckpt.DirWriter) error { return ckpt.WriteAdapterFiles(d.Create, a) })
package ckpt
