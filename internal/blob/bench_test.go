package blob

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"testing"

	"lazaret/internal/testlib"
)

// benchStores are both stores on disk, for figures side by side.
func benchStores(b *testing.B, f func(*testing.B, store)) {
	b.Run("local", func(b *testing.B) {
		s, err := Open(Options{Dir: filepath.Join(b.TempDir(), "blob"), Key: testKey})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		f(b, s)
	})
	b.Run("s3", func(b *testing.B) {
		s, err := bucketPlace{server: testlib.NewS3(b, testlib.S3Options{})}.open(b, testKey)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		f(b, s)
	})
}

func BenchmarkStorePut(b *testing.B) {
	benchStores(b, func(b *testing.B, s store) {
		content := mailLike(1, 4096)
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, _, _, err := s.Put(context.Background(), bytes.NewReader(content)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func BenchmarkStoreGet(b *testing.B) {
	benchStores(b, func(b *testing.B, s store) {
		id, _, _, err := s.Put(context.Background(), bytes.NewReader(mailLike(1, 4096)))
		if err != nil {
			b.Fatal(err)
		}
		b.SetParallelism(16)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r, err := s.Open(context.Background(), id)
				if err == nil {
					_, err = io.Copy(io.Discard, r)
					r.Close()
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func BenchmarkStoreLarge(b *testing.B) {
	benchStores(b, func(b *testing.B, s store) {
		content := mailLike(1, 8<<20)
		b.SetBytes(int64(len(content)))
		for range b.N {
			id, _, _, err := s.Put(context.Background(), bytes.NewReader(content))
			if err == nil {
				var r io.ReadCloser
				if r, err = s.Open(context.Background(), id); err == nil {
					_, err = io.Copy(io.Discard, r)
					r.Close()
				}
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
