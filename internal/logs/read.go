package logs

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lazaret/internal/errs"
)

// Reading chooses what Read reads of a log.
type Reading struct {
	Since    time.Time           // files that end before this are passed over
	MaxBytes int64               // at most; the newest files count first. 0: no limit
	Progress func(of, all int64) // bytes, now and then; may be nil
}

// ReadFiles gives the files that a Reading takes, oldest first, their bytes,
// and whether older ones were left out because of MaxBytes. A file holds no line
// from before the time in its name, and none from after that of the next.
func ReadFiles(dir, prefix string, r Reading) (names []string, size int64, cut bool, err error) {
	all, err := Files(dir, prefix)
	if err != nil {
		return nil, 0, false, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if i+1 < len(all) && begun(all[i+1], prefix).Before(r.Since) {
			break
		}
		st, err := os.Stat(all[i])
		if errors.Is(err, os.ErrNotExist) {
			st, err = os.Stat(closedName(all[i]))
		}
		if err != nil {
			continue // removed meanwhile
		}
		if r.MaxBytes > 0 && len(names) > 0 && size+st.Size() > r.MaxBytes {
			cut = true
			break
		}
		names, size = append([]string{all[i]}, names...), size+st.Size()
	}
	return names, size, cut, nil
}

// begun is the time in a file's name; far in the future when there is none, so
// that nothing is passed over because of it.
func begun(name, prefix string) time.Time {
	at := strings.TrimPrefix(filepath.Base(stem(name)), prefix+".@")
	at, _, _ = strings.Cut(at, "-")
	t, err := time.Parse("20060102T150405", at)
	if err != nil {
		return time.Unix(1<<40, 0)
	}
	return t
}

// Read gives the whole lines of files, in order and without their LF; a line
// that another is written behind of just now is not whole. A line longer than
// 256 KiB is skipped. A file that is closed meanwhile is read under its new name.
func Read(ctx context.Context, names []string, r Reading, fn func(line []byte)) error {
	p := &pass{r: r, fn: fn, line: make([]byte, 0, 4096)}
	for _, name := range names {
		if st, err := os.Stat(name); err == nil {
			p.all += st.Size()
		}
	}
	for _, name := range names {
		if err := p.file(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// pass is one Read.
type pass struct {
	r       Reading
	fn      func([]byte)
	line    []byte
	of, all int64
	told    int64
}

func (p *pass) file(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.Open(closedName(name))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return errs.Wrap(errs.Internal, err, "reading the log")
	}
	defer func() { _ = f.Close() }() // only read
	in, long := bufio.NewReaderSize(f, 256<<10), false
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := in.ReadSlice('\n')
		p.count(len(b))
		switch {
		case err == bufio.ErrBufferFull:
			long = true
		case err == io.EOF:
			return nil // what is left is no whole line
		case err != nil:
			return errs.Wrap(errs.Internal, err, "reading the log")
		case long:
			long = false
		default:
			p.fn(b[:len(b)-1])
		}
	}
}

func (p *pass) count(n int) {
	p.of += int64(n)
	if p.r.Progress != nil && p.of-p.told >= 1<<20 {
		p.told = p.of
		p.r.Progress(p.of, max(p.all, p.of))
	}
}
