// Latched shift-register board: 74HC595 (or alike) in a chain behind an Arduino, for labtrain's driver latched-board.
//
//     Uno, Nano        74HC595
//     D11 (MOSI)       SER of the first register; its QH' to SER of the next, and so on
//     D13 (SCK)        SRCLK of all
//     D10              RCLK of all
//     D9               OE of all, and 10 kOhm from there to +5 V: the outputs stay off until the first pattern is in
//     D12 (MISO)       QH' of the last register, where BOARD_CHAIN_RETURNS is 1 in board_config.h
//     +5 V             VCC (pin 16) and SRCLR (pin 10, also MR) of all: left open, it clears registers when it likes
//     GND              GND (pin 8) of all; 100 nF from VCC to GND at each
//
// The chain's output k is output QA + k % 8 of register k / 8, counted from the Arduino. Bit k of the pattern stands
// there: element 0 is the top left one, elements follow row by row, each with its most significant bit first.
//
// Edit board_config.h, then upload. Other Arduinos work as well, if they have SPI and RAM enough.

#include <SPI.h>

#include "board.h"

static const uint32_t BAUD = 115200;
static const uint8_t LATCH = 10;  // also SS of an ATmega328P, which must be an output for SPI to stay the master
static const uint8_t OUTPUTS_OFF = 9;
static const uint32_t CLOCK_HZ = 1000000;  // slow enough for long chains on long wires

static board the_board;

// The last register is filled first: bytes from the last to the first, in each the lowest bit first.
static void shift(const uint8_t *pattern, uint8_t *found) {
  SPI.beginTransaction(SPISettings(CLOCK_HZ, LSBFIRST, SPI_MODE0));
  for (uint16_t n = BOARD_PATTERN_BYTES; n-- > 0;) {
    const uint8_t out = SPI.transfer(pattern[n]);
    if (found != NULL) found[n] = out;
  }
  SPI.endTransaction();
}

static void latch(void *, const uint8_t *pattern) {
  shift(pattern, NULL);
  digitalWrite(LATCH, HIGH);  // all outputs change on this edge, and on no other
  digitalWrite(LATCH, LOW);
}

#if BOARD_CHAIN_RETURNS
static void read_chain(void *, const uint8_t *pattern, uint8_t *found) { shift(pattern, found); }
#endif

void setup() {
  digitalWrite(OUTPUTS_OFF, HIGH);
  pinMode(OUTPUTS_OFF, OUTPUT);
  digitalWrite(LATCH, LOW);
  pinMode(LATCH, OUTPUT);
  SPI.begin();
  Serial.begin(BAUD);
#if BOARD_CHAIN_RETURNS
  const board_port port = {latch, read_chain, NULL};
#else
  const board_port port = {latch, NULL, NULL};
#endif
  board_start(&the_board, &port);
  digitalWrite(OUTPUTS_OFF, LOW);
}

void loop() {
  while (Serial.available() > 0) {
    const uint16_t count = board_take(&the_board, (uint8_t)Serial.read(), millis());
    if (count > 0) Serial.write(the_board.parser.bytes, count);
  }
}
