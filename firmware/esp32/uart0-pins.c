/* On which pins a chip of the family has UART 0: ESP-IDF's header knows, for the chip that is built for. */
#include "xsmc.h"

#include "soc/uart_pins.h"

/* uart0Pins(): number, transmit * 256 + receive */
void xs_uart0_pins(xsMachine *the)
{
    xsmcSetInteger(xsResult, U0TXD_GPIO_NUM * 256 + U0RXD_GPIO_NUM);
}
