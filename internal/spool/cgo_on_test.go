//go:build cgo

package spool

// cgoEnabled: the engine keeps its write buffers and cache outside Go's heap.
const cgoEnabled = true
