<?php
// What came, and a body of the size that was asked for.
header('Content-Type: text/plain');
$body = file_get_contents('php://input');
echo $_SERVER['REQUEST_METHOD'], ' ', strlen($body), ' ', hash('sha256', $body), "\n";
echo substr(str_repeat(hash('sha256', (string)$_GET['size']), intdiv((int)$_GET['size'], 64) + 1), 0, (int)$_GET['size']);
