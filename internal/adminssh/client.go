package adminssh

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"syscall"

	"lazaret/internal/errs"
)

// Local runs a line at the socket of a running appliance and gives its exit
// status. The error means that no status came back. As over SSH, what a command
// has to say about its failure is part of its output.
func Local(ctx context.Context, path, line string, stdin io.Reader, stdout io.Writer) (int, error) {
	conn, err := dialLocal(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return 0, errs.Wrap(errs.NotFound, err, "the appliance is not running")
	}
	if errors.Is(err, fs.ErrPermission) {
		return 0, errs.Wrap(errs.Denied, err, "this user may not use %s", path)
	}
	if err != nil {
		return 0, errs.Wrap(errs.Internal, err, "connecting to %s", path)
	}
	defer conn.Close()
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	defer unhook()
	if len(line) > maxFrame {
		return 0, errs.New(errs.Invalid, "the command is longer than %d bytes", maxFrame)
	}
	if err := writeFrame(conn, frameLine, []byte(line)); err != nil {
		return 0, errs.Wrap(errs.Internal, err, "sending the command")
	}
	r := bufio.NewReader(conn)
	for {
		kind, data, err := readFrame(r)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			return 0, errs.Wrap(errs.Internal, err, "the appliance closed the connection")
		}
		switch kind {
		case frameOut:
			if _, err := stdout.Write(data); err != nil {
				return 0, errs.Wrap(errs.Internal, err, "writing the output")
			}
		case frameWant:
			if err := sendInput(conn, stdin); err != nil {
				return 0, err
			}
		case frameExit:
			if len(data) != 4 {
				return 0, errs.New(errs.Internal, "the appliance sent a broken exit status")
			}
			return int(binary.BigEndian.Uint32(data)), nil
		}
	}
}

// sendInput answers one wish for input; an empty frame says that there is none.
func sendInput(conn io.Writer, stdin io.Reader) error {
	buf := make([]byte, 32*1024)
	n := 0
	if stdin != nil {
		var err error
		for n == 0 && err == nil {
			n, err = stdin.Read(buf)
		}
		if err != nil && err != io.EOF {
			return errs.Wrap(errs.Internal, err, "reading the input")
		}
	}
	return errs.Wrap(errs.Internal, writeFrame(conn, frameData, buf[:n]), "sending the input")
}
