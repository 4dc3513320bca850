package adminssh

import (
	"bufio"
	"io"
	"strings"
)

// maxInput is the longest line of input that a command may read.
const maxInput = 64 * 1024

// pipe is a Console without a terminal: bytes out as they are, lines in when a
// command asks for them. What nobody asks for is never read: some clients write
// their password on the first output they see (clients 2.1).
type pipe struct {
	io.Writer
	in    *bufio.Reader
	never chan struct{}
}

func newPipe(rw io.ReadWriter) *pipe {
	return &pipe{Writer: rw, in: bufio.NewReader(rw), never: make(chan struct{})}
}

// ReadLine gives the next line of input. The prompt is not shown: it would be
// mixed into the output that a script reads.
func (p *pipe) ReadLine(string) (string, error) {
	var line strings.Builder
	for {
		part, err := p.in.ReadSlice('\n')
		line.Write(part)
		if line.Len() > maxInput {
			return "", io.ErrShortBuffer
		}
		switch err {
		case nil:
			return strings.TrimSuffix(strings.TrimSuffix(line.String(), "\n"), "\r"), nil
		case bufio.ErrBufferFull:
			continue
		case io.EOF:
			if line.Len() > 0 {
				return line.String(), nil
			}
		}
		return "", io.EOF
	}
}

func (p *pipe) ReadPassword(prompt string) (string, error) { return p.ReadLine(prompt) }

// Interrupted is never closed: who wants a command without a terminal to end
// closes the connection.
func (p *pipe) Interrupted() <-chan struct{} { return p.never }

func (p *pipe) Size() (columns, rows int) { return 0, 0 }
