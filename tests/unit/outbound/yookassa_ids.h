/* Ids in the objects of the tests: a payment at YooKassa, and what our metadata name. */
#pragma once

#define ID "22e12f66-000f-5000-8000-18db351245c7"
#define USER_ID "01234567-89ab-7def-8edc-ba9876543210"
#define PAYMENT_ID "01234567-89ab-7def-8edc-ba9876543211"
