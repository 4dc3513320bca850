//go:build !linux

package worker

import (
	"io"
	"os"
)

// walls stand on Linux only.
func walls() (missing []string) { return []string{"walls: this system has none that we know"} }

// mapFile reads what Linux maps.
func mapFile(f *os.File, off, size int64) []byte {
	b := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, off, size), b); err != nil {
		panic(err) // the worker is of no more use
	}
	return b
}

func unmap([]byte) {}
