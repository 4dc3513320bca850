package worker

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"

	"lazaret/internal/unpack"
)

// cab opens a cabinet of Microsoft ([MS-CAB]): stored, and compressed by MSZIP.
// LZX, Quantum and files that go on in another cabinet are not read.
func (s *session) cab(f *file) {
	all := f.data.bytes()
	if len(all) < 36 || string(all[:4]) != "MSCF" {
		s.found(unpack.Unsupported, f, "cabinet of another maker")
		return
	}
	c, err := readCabinet(all)
	if err != nil {
		s.fail(f, err)
		return
	}
	if c.size < len(all) && len(bytes.Trim(all[c.size:], "\x00")) > 0 && string(all[c.size:min(len(all), c.size+4)]) != "\x30\x82" {
		s.found(unpack.HiddenMember, f, "behind the cabinet")
		_ = s.member(f, "", nil, bytes.NewReader(all[c.size:]))
	}
	for i := range c.folders {
		if s.stopped || s.broken != nil {
			return
		}
		s.cabFolder(f, c, i)
	}
}

type cabinet struct {
	all     []byte
	size    int // as it says
	skip    int // of each block, for others' use
	folders []cabFolder
	files   []cabFile
}

type cabFolder struct {
	at     int
	blocks int
	method uint16
}

type cabFile struct {
	name   string
	size   uint32
	offset uint32
	folder int
}

var errCabinet = errors.New("the cabinet is damaged")

// Files that begin in the cabinet before, go on in the next one, or both.
const fromOther = 0xfffd

// readCabinet reads the lists; no number in them is believed ([MS-CAB] 2).
func readCabinet(all []byte) (*cabinet, error) {
	le := binary.LittleEndian
	c := &cabinet{all: all, size: int(min(le.Uint32(all[8:]), uint32(len(all))))}
	folders, files, flags := int(le.Uint16(all[26:])), int(le.Uint16(all[28:])), le.Uint16(all[30:])
	at, folderSkip := 36, 0
	if flags&4 != 0 { // room that others reserved
		if len(all) < 40 {
			return nil, errCabinet
		}
		at, folderSkip, c.skip = 40+int(le.Uint16(all[36:])), int(all[38]), int(all[39])
	}
	for n := 2 * (int(flags&1) + int(flags>>1&1)); n > 0; n-- { // names of the cabinets before and behind
		i := -1
		if at < len(all) {
			i = bytes.IndexByte(all[at:], 0)
		}
		if i < 0 {
			return nil, errCabinet
		}
		at += i + 1
	}
	for range folders {
		if at+8 > len(all) {
			return nil, errCabinet
		}
		c.folders = append(c.folders, cabFolder{int(le.Uint32(all[at:])), int(le.Uint16(all[at+4:])), le.Uint16(all[at+6:]) & 15})
		at += 8 + folderSkip
	}
	at = int(le.Uint32(all[16:]))
	for range files {
		if at < 0 || at+17 > len(all) {
			return nil, errCabinet
		}
		h := all[at:]
		end := bytes.IndexByte(h[16:min(len(h), 16+1024)], 0)
		if end < 0 {
			return nil, errCabinet
		}
		c.files = append(c.files, cabFile{string(h[16 : 16+end]), le.Uint32(h), le.Uint32(h[4:]), int(le.Uint16(h[8:]))})
		at += 16 + end + 1
	}
	return c, nil
}

// cabFolder gives the files of a folder, which are one stream.
func (s *session) cabFolder(f *file, c *cabinet, n int) {
	folder := c.folders[n]
	var files []cabFile
	for _, x := range c.files {
		switch {
		case x.folder == n:
			files = append(files, x)
		case x.folder >= fromOther && n == 0:
			_ = s.unread(f, x.name, unpack.Unsupported, "a file that goes on in another cabinet")
		case x.folder >= len(c.folders) && n == 0:
			_ = s.unread(f, x.name, unpack.Corrupt, x.name)
		}
	}
	if folder.method > 1 {
		for _, x := range files {
			if s.unread(f, x.name, unpack.Unsupported, "cabinet by "+[]string{"", "", "Quantum", "LZX"}[min(folder.method, 3)]) != nil {
				return
			}
		}
		return
	}
	data, err := s.st.take(s.counted(f, &cabStream{c: c, folder: folder, at: folder.at}))
	defer data.release()
	s.fail(f, err)
	for _, x := range files {
		if s.stopped || s.broken != nil {
			return
		}
		from, size := min(int64(x.offset), data.size), int64(x.size)
		if from+size > data.size {
			s.found(unpack.Corrupt, f, x.name)
			size = data.size - from
		}
		if s.member(f, x.name, nil, data.section(from, size)) != nil {
			return
		}
	}
}

// cabStream joins the blocks of a folder. Under MSZIP each is a DEFLATE stream of
// its own behind the letters CK, which knows what the one before gave.
type cabStream struct {
	c      *cabinet
	folder cabFolder
	at     int
	block  []byte // the last one, unpacked
	rest   []byte // of it
}

func (r *cabStream) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.folder.blocks == 0 {
			return 0, io.EOF
		}
		r.folder.blocks--
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// maxBlock is what a block has unpacked, at most.
const maxBlock = 32 << 10

func (r *cabStream) next() error {
	all := r.c.all
	head := 8 + r.c.skip
	if r.at < 0 || r.at+head > len(all) {
		return errCabinet
	}
	packed, size := int(binary.LittleEndian.Uint16(all[r.at+4:])), int(binary.LittleEndian.Uint16(all[r.at+6:]))
	data := all[r.at+head:]
	if packed > len(data) || size > maxBlock {
		return errCabinet
	}
	data = data[:packed]
	r.at += head + packed
	if r.folder.method == 0 {
		r.rest = data
		return nil
	}
	if len(data) < 2 || string(data[:2]) != "CK" {
		return errCabinet
	}
	out := make([]byte, 0, maxBlock)
	z := flate.NewReaderDict(bytes.NewReader(data[2:]), r.block)
	buf := bytes.NewBuffer(out)
	_, err := io.Copy(buf, io.LimitReader(z, maxBlock+1))
	r.block, r.rest = buf.Bytes(), buf.Bytes()
	switch {
	case err != nil:
		return err
	case len(r.rest) != size:
		return errCabinet
	}
	return nil
}
