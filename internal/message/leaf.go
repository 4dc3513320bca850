package message

import (
	"bytes"
	"io"
	"strings"
)

// leaf gives a part with content, once for each reading of its encoding and
// charset.
func (w *walker) leaf(at place, h *block, e *entity) error {
	if !h.body {
		p := w.part(at, Leaf, &h.Header, e)
		p.Body = strings.NewReader("")
		return w.fn(p)
	}
	body := &bodyReader{w: w, path: at.path}
	in := &inText{w: w, at: at}
	body.watch = in.line
	var err error
	if len(e.encodings)*len(e.charsets) == 1 {
		err = w.reading(at, h, e, 0, body)
		if err == nil {
			err = body.drain()
		}
	} else {
		err = w.readings(at, h, e, body)
	}
	if err != nil {
		return err
	}
	return in.give()
}

// readings keeps the content to give it several times.
func (w *walker) readings(at place, h *block, e *entity, body *bodyReader) error {
	raw, err := w.keep(at, body)
	if err != nil {
		return err
	}
	for i := range len(e.encodings) * len(e.charsets) {
		if i > 0 && !w.afford(at, len(raw)) {
			return nil
		}
		if err := w.reading(at, h, e, i, bytes.NewReader(raw)); err != nil {
			return err
		}
	}
	return nil
}

// reading gives one reading of a leaf.
func (w *walker) reading(at place, h *block, e *entity, i int, raw io.Reader) error {
	p := w.part(at, Leaf, &h.Header, e)
	p.Reading = i
	p.Encoding = e.encodings[i%len(e.encodings)]
	p.Charset = e.charsets[i/len(e.encodings)]
	p.Body = w.decoder(p.Encoding, at.path, raw)
	return w.fn(p)
}

// keep reads a whole body into memory, within the limit of what is read twice.
func (w *walker) keep(at place, body *bodyReader) ([]byte, error) {
	var b bytes.Buffer
	room := w.lim.Reread - w.st.reread
	_, err := io.Copy(&b, io.LimitReader(body, room+1))
	if err != nil {
		return nil, err
	}
	if int64(b.Len()) > room {
		w.note(RereadLimit, at.path)
		b.Truncate(int(room))
	}
	w.st.reread += int64(b.Len())
	return b.Bytes(), body.drain()
}

// afford takes n bytes of the allowance for reading twice.
func (w *walker) afford(at place, n int) bool {
	if w.st.reread+int64(n) > w.lim.Reread {
		w.note(RereadLimit, at.path)
		return false
	}
	w.st.reread += int64(n)
	return true
}

// encodedContainer reads a multipart or an attached message under base64 or
// quoted-printable, which RFC 2045 section 6.4 forbids: some readers decode it
// and some do not, so both readings are walked.
func (w *walker) encodedContainer(at place, h *block, e *entity) error {
	w.note(EncodedContainer, at.path)
	body := &bodyReader{w: w, path: at.path}
	raw, err := w.keep(at, body)
	if err != nil {
		return err
	}
	encodings := e.encodings
	if len(encodings) == 1 {
		encodings = []string{encodings[0], ""}
	}
	for i, enc := range encodings {
		if i > 0 && !w.afford(at, len(raw)) {
			break
		}
		r := w.decoder(enc, at.path, bytes.NewReader(raw))
		sub := &walker{src: newSource(r, &w.st.work), lim: w.lim, fn: w.fn, st: w.st, hit: atEnd}
		err := sub.inside(at, &block{w: sub, path: at.path, body: true}, e)
		sub.src.close()
		if err != nil {
			return err
		}
	}
	return nil
}
