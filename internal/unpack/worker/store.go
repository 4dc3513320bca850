package worker

import (
	"bytes"
	"io"
	"os"
)

// store keeps what has to be read more than once: the small in memory, the rest
// in the scratch file, which it uses like a stack.
type store struct {
	f   *os.File
	top int64
}

// inMemory is how much of one file stays in memory.
const inMemory = 256 << 10

const page = 4096 // alignment, for mmap

// blob is stored bytes.
type blob struct {
	st   *store
	mem  []byte // all of it, unless size is greater
	off  int64
	size int64
	view []byte // mapped
}

// take stores all of r. With an error of r, what came before it is stored.
func (st *store) take(r io.Reader) (*blob, error) {
	b := &blob{st: st}
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(r, inMemory))
	b.mem, b.size = buf.Bytes(), n
	if err != nil || n < inMemory {
		return b, err
	}
	more := make([]byte, 64<<10)
	off := st.top
	for {
		k, err := r.Read(more)
		if k > 0 {
			if b.mem != nil {
				if _, werr := st.f.WriteAt(b.mem, off); werr != nil {
					return b, werr
				}
				b.mem, b.off = nil, off
			}
			if _, werr := st.f.WriteAt(more[:k], off+b.size); werr != nil {
				return b, werr
			}
			b.size += int64(k)
		}
		if err != nil {
			if b.mem == nil {
				st.top = (off + b.size + page - 1) &^ (page - 1)
			}
			if err == io.EOF {
				err = nil
			}
			return b, err
		}
	}
}

// ReadAt implements io.ReaderAt.
func (b *blob) ReadAt(p []byte, off int64) (int, error) {
	if b.mem != nil {
		return bytes.NewReader(b.mem).ReadAt(p, off)
	}
	if off >= b.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > b.size-off {
		p, end = p[:b.size-off], io.EOF
	}
	n, err := b.st.f.ReadAt(p, b.off+off)
	if err == nil {
		err = end
	}
	return n, err
}

// reader reads from an offset on.
func (b *blob) reader(from int64) *io.SectionReader {
	return io.NewSectionReader(b, from, max(0, b.size-from))
}

// section reads a piece.
func (b *blob) section(from, size int64) *io.SectionReader { return io.NewSectionReader(b, from, size) }

// head gives the first bytes.
func (b *blob) head(n int) []byte {
	p := make([]byte, min(int64(n), b.size))
	k, _ := b.ReadAt(p, 0) // less is what there is
	return p[:k]
}

// bytes gives all of it, mapped from the scratch file when it lies there.
func (b *blob) bytes() []byte {
	if b.mem != nil || b.size == 0 {
		return b.mem
	}
	if b.view == nil {
		b.view = mapFile(b.st.f, b.off, b.size)
	}
	return b.view
}

// release gives back the blob and all that was stored after it.
func (b *blob) release() {
	if b.view != nil {
		unmap(b.view)
		b.view = nil
	}
	if b.mem == nil && b.size > 0 {
		b.st.top = b.off
	}
}
