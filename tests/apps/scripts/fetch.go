// A static program: it serves its own copy, or fetches URLs from others. fetch serve PORT | fetch URL…
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	if os.Args[1] == "serve" {
		http.HandleFunc("/", func(out http.ResponseWriter, request *http.Request) { io.Copy(out, request.Body) })
		panic(http.ListenAndServe("127.0.0.1:"+os.Args[2], nil))
	}
	for _, url := range os.Args[1:] {
		for i := 0; i < 20; i++ {
			answer, err := http.Get(url)
			if err != nil {
				panic(err)
			}
			sum := sha256.New()
			size, err := io.Copy(sum, answer.Body)
			answer.Body.Close()
			fmt.Printf("%d %d %x %v\n", answer.StatusCode, size, sum.Sum(nil)[:4], err)
		}
	}
}
