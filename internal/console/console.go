// Package console is the meeting point of a command and the person or script
// that runs it: lines in, text out. It knows no transport and no command; the
// SSH server and the local socket make a Console, the command language uses it.
package console

import "io"

// Console is one terminal, or the pipe of one executed command.
type Console interface {
	io.Writer

	// ReadLine shows the prompt and reads one line without its end. Limits
	// are the maker's: 4 KiB a line. io.EOF ends the session; ErrInterrupt
	// is Ctrl-C, which leaves the command.
	ReadLine(prompt string) (string, error)

	// ReadPassword is ReadLine without echo and history.
	ReadPassword(prompt string) (string, error)

	// Interrupted is closed when Ctrl-C is pressed while a command runs
	// (tail follows until then).
	Interrupted() <-chan struct{}

	// Size gives columns and rows of the terminal; both 0 without a pty:
	// then nothing is ever paged.
	Size() (columns, rows int)
}

type interrupt struct{}

func (interrupt) Error() string { return "interrupted" }

// ErrInterrupt is what a read gives on Ctrl-C.
var ErrInterrupt error = interrupt{}

// KeyReader is a Console on a terminal that can also wait for a single key,
// for "press any key". Ctrl-C gives ErrInterrupt.
type KeyReader interface {
	ReadKey() (byte, error)
}

// Completer is a Console on a terminal that can complete what is being typed.
type Completer interface {
	// Complete says how the word that a line ends in may go on, for the next
	// ReadLine; nil ends that. The words come in order, each whole.
	Complete(words func(line string) []string)
}
