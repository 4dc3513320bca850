package admin

import (
	"context"
	"time"

	"lazaret/internal/auth"
)

// Archives is what the commands see of the archives that filters keep mail in.
type Archives interface {
	ArchiveFiles() ([]ArchiveFile, error)
	RollOver(archive string) error
}

// ArchiveFile is one file of an archive.
type ArchiveFile struct {
	Path string
	Size int64
	At   time.Time // last written
}

// ArchiveCommands gives the commands about archives, of a gateway.
func ArchiveCommands(a Archives) []Command {
	return []Command{
		{Name: "filters archives", Summary: "List the files of the archives that filters keep mail in", Usage: "filters archives", Right: auth.ConfigView, Run: listArchives(a)},
		{Name: "filters rollovernow", Summary: "End the file under way of an archive", Usage: "filters rollovernow NAME", Right: auth.ConfigChange, MaxArgs: 1, Run: rollArchive(a)},
	}
}

func listArchives(a Archives) func(context.Context, *Call) error {
	return func(_ context.Context, c *Call) error {
		files, err := a.ArchiveFiles()
		if err != nil {
			return err
		}
		if len(files) == 0 {
			c.Printf("No filter has kept mail in an archive.\n")
		}
		for _, f := range files {
			c.Printf("%s  %12s bytes  %s\n", f.At.UTC().Format("2006-01-02 15:04:05"), comma(f.Size), Plain(f.Path))
		}
		return nil
	}
}

func rollArchive(a Archives) func(context.Context, *Call) error {
	return func(_ context.Context, c *Call) error {
		name, err := c.Ask("Enter the name of the archive:", "")
		if err != nil {
			return err
		}
		if err := a.RollOver(name); err != nil {
			return err
		}
		c.Printf("The file of archive %s is ended; what comes next begins another.\n", Plain(name))
		return nil
	}
}
